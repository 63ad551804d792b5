"""Wrong and right rules at realistic sizes, by which `check_vjp` itself is judged."""
