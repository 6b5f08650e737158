"""Installs mbmrl_control as an ament_python package."""

from glob import glob

from setuptools import find_packages, setup

NAME = "mbmrl_control"

setup(
    name=NAME,
    version="0.1.0",
    description="Meta-learned dynamics models that adapt online, and model predictive control with them.",
    maintainer="mbmrl developers",
    maintainer_email="maintainers@mbmrl.invalid",
    license="Apache-2.0",
    packages=find_packages(exclude=["test"]),
    package_data={NAME: ["priors/*/*.safetensors"]},
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{NAME}"]),
        (f"share/{NAME}", ["package.xml"]),
        # launch/ and config/ are links to the folders of the workspace's top level.
        (f"share/{NAME}/launch", sorted(glob("launch/*.launch.py"))),
        (f"share/{NAME}/config", sorted(glob("config/*"))),
    ],
    install_requires=[
        "setuptools",
        "cobs",
        "imageio-ffmpeg",
        "matplotlib>=3.7",
        "mcap",
        "msgspec",
        "numpy",
        "optuna",
        "Pillow",
        "psutil",
        "pyarrow",
        "pydantic>=2",
        "pyserial",
        "pyyaml",
        "rich",
        "rosbags",
        "safetensors",
        "setproctitle",
        "tensorboard",
        "torch",
        "trimesh",
        "typer",
        "typing_extensions",
        "urdf_parser_py",
        "viser",
        "websockets",
    ],
    extras_require={"test": ["hypothesis", "joblib", "pytest", "selenium"]},
    zip_safe=False,
    entry_points={
        "console_scripts": [
            "adaptation_node = mbmrl_control.nodes.entry:adaptation_node",
            "dashboard_node = mbmrl_control.nodes.entry:dashboard_node",
            "emulator_node = mbmrl_control.nodes.entry:emulator_node",
            "explorer_node = mbmrl_control.nodes.entry:explorer_node",
            "mbmrl = mbmrl_control.cli.main:main",
            "mpc_node = mbmrl_control.nodes.entry:mpc_node",
            "recorder_node = mbmrl_control.nodes.entry:recorder_node",
            "serial_bridge_node = mbmrl_control.nodes.entry:serial_bridge_node",
            "topic_bridge_node = mbmrl_control.nodes.entry:topic_bridge_node",
        ],
    },
)
