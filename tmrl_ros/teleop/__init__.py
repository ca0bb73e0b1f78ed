"""Devices in a person's hands: what they report in, a TeleopCommand out. None of them knows ROS."""
