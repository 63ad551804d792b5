"""The commands of `jbackprop`, one module each: `main(arguments) -> exit code`."""
