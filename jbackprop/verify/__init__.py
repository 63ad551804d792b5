"""The checker: functions are looked at from outside, whoever wrote them."""
