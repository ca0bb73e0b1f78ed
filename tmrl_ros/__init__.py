"""One hour at a Franka: Timestep-Modulated RL over ROS 2."""

__version__ = "0.1.0"
