"""The gateway: commits what devices send and serves it northbound."""
