# What a node cannot do. Tried with actors, objects, runtime environments and jobs. Left out because
# Ray or its users need it: ProcSubset=pid (psutil reads /proc/meminfo) and MemoryDenyWriteExecute
# (numba, jax).
{
  AmbientCapabilities = "";
  CapabilityBoundingSet = "";
  DevicePolicy = "closed";
  # Ray's dashboard asks the cloud's metadata address where it runs; tasks have no business there
  # either.
  IPAddressDeny = [
    "169.254.0.0/16"
    "fd00:ec2::254/128"
  ];
  LockPersonality = true;
  NoNewPrivileges = true;
  PrivateDevices = true;
  PrivateMounts = true;
  PrivateTmp = true;
  PrivateUsers = true;
  ProtectClock = true;
  ProtectControlGroups = true;
  ProtectHome = true;
  ProtectHostname = true;
  ProtectKernelLogs = true;
  ProtectKernelModules = true;
  ProtectKernelTunables = true;
  ProtectProc = "invisible";
  ProtectSystem = "strict";
  RemoveIPC = true;
  RestrictAddressFamilies = [
    "AF_UNIX"
    "AF_INET"
    "AF_INET6"
  ];
  RestrictNamespaces = true;
  RestrictRealtime = true;
  RestrictSUIDSGID = true;
  SystemCallArchitectures = "native";
  # An error instead of a kill: Ray lowers the priority of its workers, and goes on if it may not.
  SystemCallErrorNumber = "EPERM";
  SystemCallFilter = [
    "@system-service"
    "~@privileged"
  ];
  UMask = "0077";
}
