"""What holds for all tests."""

import gc
import os

import pytest
from hypothesis import HealthCheck, settings

# A test judges what comes out; how long that takes is a benchmark's, and a machine that is busy is no failure.
settings.register_profile("whatever the load", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("whatever the load")

os.environ.pop("ROS_DOMAIN_ID", None)  # a person's own, where a real arm may listen


@pytest.fixture
def ros_domain():
    """Id of a ROS domain that nobody else uses, which the test's processes are in as well."""
    pytest.importorskip("rclpy")
    from tmrl_ros.nodes import runtime
    from tmrl_ros.session.domain import reserved_domain

    before = dict(os.environ)
    runtime.use_loopback(os.environ)
    with reserved_domain() as domain:
        os.environ["ROS_DOMAIN_ID"] = str(domain)
        yield domain
    gc.collect()  # a participant lives as long as its node, and nodes are parts of cycles
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture
def ros_context(ros_domain):
    """The test's own rclpy context in that domain."""
    import rclpy

    context = rclpy.Context()
    rclpy.init(context=context, domain_id=ros_domain)
    yield context
    rclpy.try_shutdown(context=context)
