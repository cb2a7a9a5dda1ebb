export COGNITIVE_CHECKPOINTS=/srv/checkpoints
export RAYNIXOS_NAMESPACE=cognitive
export RAY_ADDRESS=ray://127.0.0.2:10001
export RAY_API_SERVER_ADDRESS=http://127.0.0.1:8265
export RAY_AUTH_MODE=token
export RAY_AUTH_TOKEN_PATH=/var/lib/ray/token
export RAY_USAGE_STATS_ENABLED=0
export PATH=/nix/store/ray-env/bin:$PATH
