"""The benchmark: rules, networks and whole training steps against what a user would write without this library."""
