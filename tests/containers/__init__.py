"""Runs cluster tests without NixOS: each machine is a systemd-nspawn container that boots real systemd.

The scenarios of tests/scenarios are written against the NixOS test driver's Machine API, which is here for containers.
"""
