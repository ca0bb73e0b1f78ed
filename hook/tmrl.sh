# Puts `tmrl` on PATH, and none of the nodes beside it in lib/tmrl_ros.
_colcon_prepend_unique_value PATH "$COLCON_CURRENT_PREFIX/share/tmrl_ros/bin"
