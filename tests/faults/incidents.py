"""Faults of what stands around a session: a hand, a button, cameras, people, and the robot's own state."""

import re
import signal
import time
from array import array
from collections.abc import Callable

import cell
import numpy as np
from diagnostic_msgs.msg import DiagnosticStatus
from rig import Rig, passes
from spoilt import ARM, CHUNK
from std_msgs.msg import Bool
from std_srvs.srv import Trigger

from tmrl_ros import fr3, kinematics
from tmrl_ros.config import SafetyLimits
from tmrl_ros.nodes import topics
from tmrl_ros.nodes.franka import RECOVER
from tmrl_ros.supervisor.limits import CONDITION_STOP
from tmrl_ros.types import Mode

DRIVE_S = 12.0
JOINT_RAD = 0.02  # by which the simulated arm, a spring, is measured past where it was commanded


def second_publisher(rig: Rig, injection: int) -> None:
    rig.rogue = topics.TRAJECTORY.publisher(rig)
    rig.onset()


def freeze_hand(rig: Rig, injection: int) -> None:
    """The policy opens the closed hand, whose measured width stays what it was, with fresh stamps."""
    frozen = []

    def measured(message):
        frozen.append(message.position)
        message.position = frozen[0]
        return [(0.0, message)]

    def opening(message):
        rig.onset()
        message.actions[3::4] = array("f", [-1.0] * (len(message.actions) // 4))
        return [(0.0, message)]

    rig.rules |= {topics.GRIPPER_STATES.name: measured, CHUNK: opening}


def press(rig: Rig, injection: int) -> None:
    rig.button = topics.E_STOP.publisher(rig)
    rig.until(rig.button.get_subscription_count)
    rig.spin(0.3)  # discovery goes both ways
    rig.onset()
    rig.button.publish(Bool(data=True))


def release(rig: Rig) -> None:
    rig.button.publish(Bool(data=False))
    rig.spin(0.1)
    rig.destroy_publisher(rig.button)


def frozen(rig: Rig, injection: int) -> None:
    """Fresh stamps on images that are one and the same, of either kind."""
    topic, kept = (cell.COLOR, cell.DEPTH)[injection % 2], []

    def rule(message):
        kept.append(message.data)
        if len(kept) > 1:  # the first is as good as any
            rig.onset()
        message.data = kept[0]
        return [(0.0, message)]

    rig.rules[topic.name] = rule


def nothing_seen(message, injection):
    """A covered lens, or no pixels at all."""
    empty = (bytes(len(message.data)), b"")[injection % 2]
    message.data = array("B", empty)


def other_encoding(message, injection):
    """Depth as another driver has it: metres in float32, nothing but NaN, or colours."""
    if injection % 2:
        message.encoding, message.step, message.data = (
            "rgb8",
            3 * message.width,
            array("B", bytes(3 * len(message.data) // 2)),
        )
    else:
        nothing = np.full((message.height, message.width), np.nan, np.float32)
        message.encoding, message.step, message.data = "32FC1", 4 * message.width, array("B", nothing.tobytes())


def other_lens(message, injection):
    message.k[0] *= 1.02 + 0.01 * injection


def drop_some(rig: Rig, injection: int) -> None:
    """30 % of the frames for two seconds: counted, and held only where an observation gets too old."""
    rng, before = np.random.default_rng(injection), _dropped(rig)
    rig.onset()

    def rule(message):
        return [] if rng.random() < 0.3 else [(0.0, message)]

    rig.rules |= {cell.COLOR.name: rule, cell.DEPTH.name: rule}
    rig.spin(2.0)
    rig.rules |= {cell.COLOR.name: passes, cell.DEPTH.name: passes}
    rig.spin(1.2)  # diagnostics come once a second
    told = not rig.held or re.search("observation is|no usable frame|nothing fitted", rig.status.reason)
    rig.judged = {"safe": bool(told) and rig.slow, "right": _dropped(rig) > before, "ms": None}


def _dropped(rig: Rig) -> float:
    _, _, values = rig.said.get("perception: front/depth", (None, "", {}))
    return values.get("dropped_frames", 0.0)


def to_a_joints_end(rig: Rig, injection: int) -> None:
    """Towards the base, until a joint is where its range ends."""
    _drive(rig, (-1, 0, 0), lambda q: margin(q) < 0.03, lambda q: margin(q) > -JOINT_RAD)


def to_a_singularity(rig: Rig, injection: int) -> None:
    """Away from the base, until the arm is all but stretched."""
    _drive(rig, (1, 0, 0), lambda q: condition(q) > 25, lambda q: condition(q) < CONDITION_STOP + 1)


def _drive(rig: Rig, velocity, near: Callable[[np.ndarray], bool], within: Callable[[np.ndarray], bool]) -> None:
    """From home a person moves the arm at what it must not reach: it comes near, stands, and was within throughout."""
    home(rig)
    rig.resume()
    rig.arm()
    person, kept = cell.Person(rig), []

    def seen(message):
        kept.append(within(np.array(message.position[:7])))
        return [(0.0, message)]

    rig.onset()
    rig.rules[ARM] = seen
    person.drive(velocity)
    rig.until(lambda: _drives(rig) and near(rig.q) and rig.stands, DRIVE_S, strict=False)
    came = near(rig.q)
    rig.spin(0.5)
    rig.judged = {"safe": all(kept) and rig.stands and rig.slow, "right": came and not rig.held, "ms": None}
    person.let_go()


def _acts(rig: Rig) -> bool:
    """Whether somebody has the arm; a hold of a machine that stalls is no part of the fault."""
    if rig.held:
        rig.resume()
    return rig.status.mode in (Mode.POLICY, Mode.TELEOP)


def _drives(rig: Rig) -> bool:
    """Whether the person has it."""
    return _acts(rig) and rig.status.mode == Mode.TELEOP


def margin(q) -> float:
    return float(np.minimum(q - fr3.RECTANGULAR_Q_MIN, fr3.RECTANGULAR_Q_MAX - q).min())


def condition(q) -> float:
    return float(np.linalg.cond(kinematics.jacobian(q)))


def breach(rig: Rig, injection: int) -> None:
    """A person drives the arm against the box, which clamps it; then it is measured outside."""
    side = (-1.0, 1.0)[injection % 2]
    person, edge_m = cell.Person(rig), side * SafetyLimits().workspace_max_m[1]
    person.drive((0, side, 0))

    def outside_m() -> float:
        return side * (kinematics.forward(rig.q)[0][1] - edge_m)

    rig.until(lambda: _drives(rig) and outside_m() > -0.01 and rig.stands)
    assert outside_m() < 0.002, f"the box was left by {1e3 * outside_m():.1f} mm"

    def moved(message):
        rig.onset()
        message.position[0] += side * 0.12
        return [(0.0, message)]

    rig.rules[ARM] = moved
    rig.until(lambda: rig.held, 1.0, strict=False)
    person.vanish()


def device_lost(rig: Rig, injection: int) -> None:
    person = cell.Person(rig)
    person.drive((0, 0.3, 0))
    rig.until(lambda: _drives(rig))
    rig.spin(0.3)
    rig.until(lambda: _drives(rig))
    person.vanish()
    rig.onset()
    rig.onset_s = person.last_s


def operator_lost(rig: Rig, injection: int) -> None:
    rig.onset()
    rig.repeating.pop("operator")


def learner_killed(rig: Rig, injection: int) -> None:
    """At any moment, a checkpoint's writing among them; started again it learns on, and nobody waited."""
    wanted = len(rig.versions) + 2
    rig.until(lambda: _acts(rig) and len(rig.versions) >= wanted)
    rig.spin(float(np.random.default_rng([4, injection]).uniform(0, 2)))
    before = rig.versions[-1]
    rig.onset()
    dead = rig.processes["learner"]
    rig.signal("learner", signal.SIGKILL, wait=False)
    rig.until(lambda: dead.poll() is not None)
    rig.start("learner", **rig.parameters["learner"])
    # A hold counts, but without decisions no learner would have anything to learn: the session is resumed.
    came = rig.until(lambda: _acts(rig) and rig.versions[-1] > before, 30.0, strict=False)
    ms = 1e3 * (time.monotonic() - rig.onset_s)
    rig.judged = {"safe": rig.slow, "right": came and rig.held_s is None, "ms": ms, "said": rig.held_for}


def learner_hangs(rig: Rig, injection: int) -> None:
    """The session goes on with the actor that it has, and the policy says that the learner is silent."""
    wanted = len(rig.versions) + 1

    def said():
        return rig.said.get("policy: learner", (b"",))[0]

    rig.until(lambda: _acts(rig) and len(rig.versions) >= wanted and said() == DiagnosticStatus.OK)
    rig.onset()
    rig.signal("learner", signal.SIGSTOP)

    def alarmed():
        return said() == DiagnosticStatus.STALE

    came = rig.until(alarmed, 10.0, strict=False)
    ms = 1e3 * (time.monotonic() - rig.onset_s)
    rig.judged = {"safe": rig.slow, "right": came and not rig.held, "ms": ms}
    rig.signal("learner", signal.SIGCONT)


def two_operators(rig: Rig, injection: int) -> None:
    """A second one, and one without a name, get a sentence that names the first; what they asked for is not done."""
    rig.onset()
    asked_s = time.monotonic()
    said = [rig.operate("end_session", "ben")]
    ms = 1e3 * (time.monotonic() - asked_s)
    plain = topics.END_SESSION.client(rig)
    rig.until(plain.service_is_ready)
    future = plain.call_async(Trigger.Request())
    rig.until(future.done)
    rig.destroy_client(plain)
    said += [future.result().message, rig.operate("resume", "ben")]
    rig.spin(0.2)
    named = all("'rig' operates this session" in sentence for sentence in said)
    safe = (rig.acting or rig.held) and not future.result().success
    rig.judged = {"safe": safe, "right": named and rig.acting, "ms": ms}


def reflex(*errors: str, gap: bool = False):
    """The robot says that it is in a reflex; `gap`: after 20 ms in which its link was gone."""

    def inject(rig: Rig, injection: int) -> None:
        def rule(message):
            rig.rules[ARM] = passes
            rig.onset()
            rig.robot.tell(f"mode 4 {' '.join(errors)}")
            return [] if gap else [(0.0, message)]

        rig.rules[ARM] = rule

    return inject


def recover(rig: Rig) -> None:
    """As a person does, who has looked; and in Desk, once the node has helped often enough."""
    client = RECOVER.client(rig)
    rig.until(client.service_is_ready)
    future = client.call_async(Trigger.Request())
    rig.until(future.done)
    if not future.result().success:
        rig.robot.tell("mode 1")
    rig.until(lambda: rig.said.get("franka: robot", (b"",))[0] == DiagnosticStatus.OK)
    rig.destroy_client(client)


def home(rig: Rig) -> None:
    """Hold and resume: a reset brings the arm home."""
    press(rig, 0)
    rig.until(lambda: rig.held)
    release(rig)
