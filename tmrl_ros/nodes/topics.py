"""Every topic and service of the session, with its type and quality of service: the table of docs/architecture.md.

Names are relative, so a namespace moves them all. QoS can be overridden by ROS parameters (`qos_overrides./topic...`).
"""

from typing import NamedTuple

from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PoseArray, PoseStamped, WrenchStamped
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, qos_profile_sensor_data
from rclpy.qos_overriding_options import QoSOverridingOptions
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import Image, JointState, Joy
from std_msgs.msg import Bool, Header
from std_srvs.srv import Trigger
from trajectory_msgs.msg import JointTrajectory

from tmrl_msgs import msg, srv

RELIABLE = QoSProfile(depth=10)
NEWEST = QoSProfile(depth=1)  # to read what is of no use once there is a newer one
KEPT = QoSProfile(depth=1000)  # lockstep outruns a slow reader by more than 10, and the overwritten are lost
LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
LATEST_UPDATES = QoSProfile(depth=10, durability=DurabilityPolicy.TRANSIENT_LOCAL)
EVENTS = QoSProfile(depth=100, durability=DurabilityPolicy.TRANSIENT_LOCAL)
LOG = QoSProfile(depth=1000, durability=DurabilityPolicy.TRANSIENT_LOCAL)


class Topic(NamedTuple):
    name: str
    type: type
    qos: QoSProfile = RELIABLE

    def lossless(self, waits: bool) -> "Topic":
        """Where ticks wait for their parts, kept for a reader that is discovered late: what is lost is waited for."""
        if not waits:
            return self
        depth = self.qos.depth if self.type is Image else max(self.qos.depth, KEPT.depth)  # a thousand images: a GB
        return self._replace(qos=QoSProfile(depth=depth, durability=DurabilityPolicy.TRANSIENT_LOCAL))

    def sensed(self, waits: bool) -> "Topic":
        """To read what a robot measures: its broadcasters are best effort, and no reliable reader hears those."""
        return self.lossless(True) if waits else self._replace(qos=qos_profile_sensor_data)

    def publisher(self, node: Node):
        overriding = QoSOverridingOptions.with_default_policies()
        return node.create_publisher(self.type, self.name, self.qos, qos_overriding_options=overriding)

    def subscribe(self, node: Node, callback, **options):
        """`options` are those of rclpy's create_subscription, such as raw=True."""
        overriding = QoSOverridingOptions.with_default_policies()
        return node.create_subscription(
            self.type, self.name, callback, self.qos, qos_overriding_options=overriding, **options
        )


class Service(NamedTuple):
    name: str
    type: type

    def serve(self, node: Node, callback):
        return node.create_service(self.type, self.name, callback)

    def client(self, node: Node):
        return node.create_client(self.type, self.name)


CLOCK = Topic("/clock", Clock)
JOINT_STATES = Topic("franka/joint_states", JointState)
GRIPPER_STATES = Topic("franka_gripper/joint_states", JointState, KEPT)
CURRENT_POSE = Topic("franka_robot_state_broadcaster/current_pose", PoseStamped, KEPT)
DESIRED_POSE = Topic("franka_robot_state_broadcaster/last_desired_pose", PoseStamped, KEPT)
WRENCH = Topic("franka_robot_state_broadcaster/external_wrench_in_base_frame", WrenchStamped)
OBJECTS = Topic("objects", PoseArray, KEPT)
TASK_STATE = Topic("task_state", msg.TaskState, KEPT)
TRAJECTORY = Topic("joint_trajectory_controller/joint_trajectory", JointTrajectory)
GRIPPER_COMMAND = Topic("gripper_command", JointState)
OBSERVATION = Topic("observation", msg.Observation, KEPT)
DECISION_REQUEST = Topic("decision_request", msg.DecisionRequest)
ACTION_CHUNK = Topic("action_chunk", msg.ActionChunk)
POLICY_HEARTBEAT = Topic("policy_heartbeat", Header)  # stamp: of the newest observation that the policy has
E_STOP = Topic("emergency_stop", Bool)
DECISION = Topic("decision", msg.Decision, LOG)
EPISODE_EVENT = Topic("episode_event", msg.EpisodeEvent, EVENTS)
SESSION_STATUS = Topic("session_status", msg.SessionStatus, LATCHED)
ACTOR_UPDATE = Topic("actor_update", msg.ActorUpdate, LATEST_UPDATES)
LEARNER_HEARTBEAT = Topic("learner_heartbeat", Header)  # stamp: of the newest observation that the learner has
JOY = Topic("joy", Joy)
DIAGNOSTICS = Topic("/diagnostics", DiagnosticArray)

RESET_OBJECTS = Service("reset_objects", srv.ResetObjects)
START_SESSION = Service("start_session", Trigger)
END_SESSION = Service("end_session", Trigger)
RESUME = Service("resume", Trigger)
OBJECTS_PLACED = Service("objects_placed", Trigger)  # by a person, in a reset that asks for it
LABEL_EPISODE = Service("label_episode", srv.LabelEpisode)
SAMPLE_POLICY = Service("sample_policy", srv.SamplePolicy)
