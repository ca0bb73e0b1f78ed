"""What makes an input inadmissible; every check raises ActionError with one sentence that names the value."""

import numpy as np

from tmrl_ros import fr3, kinematics
from tmrl_ros.config import SafetyLimits, Timing
from tmrl_ros.errors import ActionError
from tmrl_ros.types import ACTION_NAMES, ActionChunk, DecisionRequest, RobotState, TeleopCommand

HUGE = 4.0  # steps: beyond what a policy plausibly means
FOLLOW_RAD = 0.15  # measured from commanded, any joint: the arm does not follow
BREACH_M = 0.02  # measured TCP outside the workspace


def check_identity(chunk: ActionChunk, request: DecisionRequest | None) -> None:
    """The chunk answers the request that is open: rejected otherwise, and the right one may still come."""
    if request is None:
        raise ActionError(f"action chunk for decision {chunk.decision} came while none is awaited; it is ignored")
    if chunk.decision != request.decision:
        kind = "was already answered or is old" if chunk.decision < request.decision else "has not been asked for"
        raise ActionError(f"action chunk for decision {chunk.decision}, which {kind}; awaited: {request.decision}")
    if chunk.episode != request.episode:
        raise ActionError(f"action chunk of episode {chunk.episode}; the running one is {request.episode}")


def check_stamp(
    chunk: ActionChunk, request: DecisionRequest, now_ns: int, timing: Timing, limits: SafetyLimits
) -> None:
    """The observation behind the chunk is neither old, nor from the future, nor another one than was asked for."""
    age_s = (now_ns - chunk.stamp_ns) * 1e-9
    if age_s > limits.observation_age_s:
        raise ActionError(f"action chunk from an observation {age_s:.3f} s old; at most {limits.observation_age_s} s")
    if -age_s > limits.future_stamp_s:
        raise ActionError(f"action chunk stamped {-age_s:.3f} s in the future; at most {limits.future_stamp_s} s")
    if timing.waits and chunk.stamp_ns != request.stamp_ns:
        raise ActionError(f"action chunk for stamp {chunk.stamp_ns} ns; the decision is for {request.stamp_ns} ns")


def check_sight(stamp_ns: int, now_ns: int, limits: SafetyLimits) -> None:
    """The policy's newest observation, of stamp_ns (0: none came yet), is neither old nor from the future."""
    age_s = (now_ns - stamp_ns) * 1e-9 if stamp_ns else 0.0
    if age_s > limits.observation_age_s:
        raise ActionError(f"the newest observation is {age_s:.2f} s old; at most {limits.observation_age_s} s")
    if -age_s > limits.future_stamp_s:
        raise ActionError(f"an observation is stamped {-age_s:.2f} s in the future; at most {limits.future_stamp_s} s")


def check_content(chunk: ActionChunk, timing: Timing) -> None:
    """Shape, period and numbers of the chunk are fit to run."""
    expected = (timing.action_horizon, len(ACTION_NAMES))
    if np.shape(chunk.actions) != expected:
        raise ActionError(f"action chunk of shape {np.shape(chunk.actions)}; the robot takes {expected}")
    if not np.isclose(chunk.dt_s, 1 / timing.action_hz, rtol=1e-6):  # also catches NaN
        raise ActionError(f"action chunk with dt = {chunk.dt_s} s; the robot runs rows of {1 / timing.action_hz} s")
    bad = np.argwhere(~np.isfinite(chunk.actions))
    if len(bad):
        row, column = bad[0]
        raise ActionError(f"action chunk holds {chunk.actions[row, column]} in row {row}, column {column}")
    z, context = chunk.modulation.z, chunk.modulation.context_noise
    if not (np.isfinite(z).all() and np.isfinite(context).all() and np.isfinite(chunk.modulation.sigma)):
        raise ActionError("action chunk with a modulation that is not finite")


def check_teleop(command: TeleopCommand | None) -> None:
    if command is None:
        raise ActionError("the teleoperation device is silent")
    if np.shape(command.velocity) != (3,) or not np.isfinite(command.velocity).all():
        raise ActionError(
            f"teleoperation velocity {np.asarray(command.velocity).tolist()}; three finite shares are valid"
        )


def check_robot_numbers(robot: RobotState) -> None:
    if not (np.isfinite(robot.q).all() and np.isfinite(robot.dq).all() and np.isfinite(robot.width_m)):
        raise ActionError("the robot state is not finite")


def check_following(robot: RobotState, q) -> None:
    """The measured joints are near the commanded q [7]."""
    off = np.abs(robot.q - q)
    if off.max() > FOLLOW_RAD:
        joint = int(off.argmax())
        raise ActionError(
            f"{fr3.JOINT_NAMES[joint]} is {off[joint]:.2f} rad from its command; at most {FOLLOW_RAD} rad"
        )


def check_force(robot: RobotState, limits: SafetyLimits) -> None:
    """What presses on the arm while it is moved, by a reset too."""
    force_n = np.sqrt(robot.force_n @ robot.force_n)
    if not force_n <= limits.force_hold_n:  # NaN counts as too much
        raise ActionError(f"external force of {force_n:.0f} N; at most {limits.force_hold_n:.0f} N")


def check_place(robot: RobotState, limits: SafetyLimits) -> None:
    """The measured TCP is within the workspace while a policy or a person moves the arm; a reset leads back into it."""
    tcp_m = kinematics.forward(robot.q)[0]
    if (tcp_m < np.subtract(limits.workspace_min_m, BREACH_M)).any() or (
        tcp_m > np.add(limits.workspace_max_m, BREACH_M)
    ).any():
        raise ActionError(f"the TCP was measured outside the workspace, at {np.round(tcp_m, 3).tolist()} m")
