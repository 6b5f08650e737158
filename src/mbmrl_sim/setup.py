"""Installs mbmrl_sim as an ament_python package."""

from setuptools import find_packages, setup

NAME = "mbmrl_sim"

setup(
    name=NAME,
    version="0.1.0",
    description="Simulated robots with faults in PyBullet, a millirobot and a Husky, as a library and as a ROS 2 node.",
    maintainer="mbmrl developers",
    maintainer_email="maintainers@mbmrl.invalid",
    license="Apache-2.0",
    packages=find_packages(exclude=["test"]),
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{NAME}"]),
        (f"share/{NAME}", ["package.xml"]),
    ],
    install_requires=["setuptools", "joblib", "numpy", "Pillow", "pybullet", "pydantic>=2"],
    extras_require={"test": ["hypothesis", "pytest"]},
    zip_safe=False,
    entry_points={
        "console_scripts": [
            "camera_node = mbmrl_sim.nodes.entry:camera_node",
            "simulator_node = mbmrl_sim.nodes.entry:simulator_node",
        ],
    },
)
