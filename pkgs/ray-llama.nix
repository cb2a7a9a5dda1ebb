# llama.cpp with RPC servers. Its newer revisions call their program ggml-rpc-server; here it has one
# name. `gpuSupport`: arguments of llama-cpp for a vendor's GPUs.
{
  llama-cpp,
  gpuSupport ? { },
}:
(llama-cpp.override ({ rpcSupport = true; } // gpuSupport)).overrideAttrs (old: {
  postInstall = (old.postInstall or "") + ''
    if [ ! -e $out/bin/llama-rpc-server ]; then
      test -x $out/bin/ggml-rpc-server
      ln -s ggml-rpc-server $out/bin/llama-rpc-server
    fi
  '';
})
