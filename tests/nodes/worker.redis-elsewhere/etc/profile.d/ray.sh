export RAYNIXOS_NAMESPACE=cognitive
export RAY_ADDRESS=ray://10.42.0.1:10001
export RAY_API_SERVER_ADDRESS=http://10.42.0.1:8265
export RAY_AUTH_MODE=token
export RAY_AUTH_TOKEN_PATH=/var/lib/secrets/ray-token
export RAY_USAGE_STATS_ENABLED=0
export RAY_gcs_rpc_server_reconnect_timeout_s=600
export PATH=/nix/store/ray-env/bin:$PATH
