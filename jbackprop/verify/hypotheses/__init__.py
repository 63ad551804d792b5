"""Named mistakes, each as a test of whether it explains the difference between a rule and its oracle."""
