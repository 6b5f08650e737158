"""Installs mbmrl_base as an ament_python package."""

from setuptools import find_packages, setup

NAME = "mbmrl_base"

setup(
    name=NAME,
    version="0.1.0",
    description="What simulator and control of mbmrl share: descriptions of robots, and the nodes' toolkit.",
    maintainer="mbmrl developers",
    maintainer_email="maintainers@mbmrl.invalid",
    license="Apache-2.0",
    packages=find_packages(exclude=["test"]),
    package_data={NAME: ["robots/*/*.urdf", "robots/*/*.yaml", "system/*.xml"]},
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{NAME}"]),
        (f"share/{NAME}", ["package.xml"]),
    ],
    install_requires=["setuptools", "joblib", "numpy", "psutil", "pydantic>=2", "PyYAML", "torch", "typing_extensions"],
    extras_require={"test": ["hypothesis", "pytest"]},
    zip_safe=False,
)
