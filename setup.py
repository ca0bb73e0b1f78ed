"""The ament_python package: nodes as console scripts, launch and parameter files in share/tmrl_ros."""

from glob import glob

from setuptools import find_packages, setup

PACKAGE = "tmrl_ros"
NODES = ("sim", "perception", "policy", "supervisor", "learner", "recorder", "teleop", "franka", "reward", "crisp")
DRIVERS = ("realsense", "player")  # started beside a session, or by `tmrl up replay`

setup(
    name=PACKAGE,
    version="0.1.0",
    packages=find_packages(include=[PACKAGE, f"{PACKAGE}.*"]),
    package_data={PACKAGE: ["**/*.xml", "**/*.html"]},
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{PACKAGE}"]),
        (f"share/{PACKAGE}", ["package.xml"]),
        (f"share/{PACKAGE}/launch", glob("launch/*.launch.py")),
        (f"share/{PACKAGE}/config", glob("config/*.yaml")),
        (f"share/{PACKAGE}/urdf", glob("urdf/*")),
        (f"share/{PACKAGE}/bin", ["hook/tmrl"]),
        (f"share/{PACKAGE}/hook", ["hook/tmrl.dsv", "hook/tmrl.sh"]),  # named in colcon.pkg
    ],
    install_requires=["setuptools"],
    zip_safe=False,
    maintainer="tmrl_ros authors",
    maintainer_email="maintainers@example.com",
    description="One hour at a Franka: Timestep-Modulated RL over ROS 2, on a robot or in simulation.",
    license="MIT",
    entry_points={
        "console_scripts": [
            *(f"{node} = {PACKAGE}.nodes.{node}:main" for node in (*NODES, *DRIVERS)),
            f"tmrl = {PACKAGE}.session.cli:main",
        ],
    },
)
