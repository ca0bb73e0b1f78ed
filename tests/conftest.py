"""What holds for all tests."""

from hypothesis import HealthCheck, settings

# A test judges what comes out; how long that takes is a benchmark's, and a machine that is busy is no failure.
settings.register_profile("whatever the load", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("whatever the load")
