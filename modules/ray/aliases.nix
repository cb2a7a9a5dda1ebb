# The flat names by which Ray's own documentation calls its ports.
{ lib, ... }:
let
  port =
    old: new:
    lib.mkAliasOptionModule
      [
        "services"
        "ray"
        old
      ]
      [
        "services"
        "ray"
        "ports"
        new
      ];
in
{
  imports = [
    (port "redisPort" "gcs")
    (port "dashboardPort" "dashboard")
    (port "nodeManagerPort" "nodeManager")
    (port "objectManagerPort" "objectManager")
  ];
}
