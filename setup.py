"""heatbeam's metadata; also what Beam's ``--setup_file`` ships to remote workers."""

from __future__ import annotations

import pathlib

import setuptools

REQUIRES = [
    "apache-beam>=2.77",  # the runners; FileBasedSink and FnApiRunner behave as tested from 2.77 on
    "argcomplete>=3.5",  # Tab completion for bash, zsh and fish from the parser itself; 0.3 MB, needs nothing
    "array_record>=0.8",  # TFDS datasets in array_record files, read by index range
    "contourpy>=1.2",  # outlines of heatmaps as lines of a page; comes with matplotlib
    "duckdb>=1.1",  # the SQL condition of heatbeam render; 1.1 is the first that can be kept from Python's variables
    "google-crc32c>=1.6",  # TFRecord checksums; 1.5 quietly computes them in Python beside a setuptools of today
    "importlib_resources>=6.0",  # tensorflow-datasets' own builders import it and do not declare it
    "jinja2>=3.1",  # the HTML report
    "keras>=3.12.1,!=3.13.0",  # models; the first that heeds safe mode in .h5 files and of SavedModels in layers too
    "matplotlib>=3.8",  # plots of the report and colour maps of overlays
    "numba>=0.60",  # contours at every threshold in one pass; 0.60 is the first for NumPy 2
    "numpy>=1.26",
    "opencv-python-headless>=4.9",  # resizing and contours, as the reference metrics define them
    "pillow>=12.1.1",  # image decoding
    "protobuf>=6.31.1",  # records are parsed without TensorFlow; tensorflow-metadata is generated for this one
    "pyarrow>=16.1",  # Parquet; the oldest that is tried
    "pydantic>=2.7",  # configuration errors, all at once
    "pyyaml>=6.0.1",  # configuration files
    "scikit-learn>=1.4",  # the demo's digits and photos
    "scipy>=1.11.2",  # sparse solves (ROAD) and rank statistics
    "tensorflow>=2.20",  # the first beside protobuf 6
    "tensorflow-datasets>=4.9.9",  # the first with DatasetInfoFileError
    "threadpoolctl>=3.1",  # one BLAS thread for the solves of ROAD, ten times as fast on a busy machine
]

# heatbeam explore: a local web app.
EXPLORE = [
    "duckdb>=1.2",  # may open the files of a run and nothing else from 1.2 on
    "fsspec>=2024.2",  # DuckDB reads runs on object stores through it
    "jinja2>=3.1",  # pages
    "starlette>=0.40",  # addresses and answers; the first without a known hole in what it does with forms
    "uvicorn>=0.30",  # serves them on loopback
]

# explain.compute: what computes parts of a model on a CPU in TensorFlow's place; both are given them as ONNX.
ONNX = [
    "onnx>=1.18",  # the form between; 1.18 is the oldest that is tried
    "tf2onnx>=1.17",  # makes it of a TensorFlow graph; the first beside protobuf 6
]
OPENVINO = ["openvino>=2025.2", *ONNX]  # 2025.2 is the oldest that is tried
ONNXRUNTIME = ["onnxruntime>=1.22", *ONNX]  # 1.22 is the oldest that is tried; later ones leave Python 3.10 out

TEST = [
    *EXPLORE,
    *OPENVINO,
    *ONNXRUNTIME,
    "axe-core-python>=0.1",  # axe.min.js, which looks for what keeps people from using a page
    "boto3>=1.28",  # Beam's S3 file system; 1.28 is the first to heed AWS_ENDPOINT_URL
    "fastparquet>=2024.11",  # a reader of the tables, with no code of Arrow's; 2024.11 is the first tried with NumPy 2
    "flask>=3.0",  # moto's server; its extra "server" asks for 40 packages of other services
    "flask-cors>=4.0",
    "hypothesis>=6.100",  # any split and merge order
    "jsonschema>=4.17",  # Beam YAML checks a pipeline with it; the rest of apache-beam[yaml] is for others
    "moto[s3]>=5.0",  # an S3 server on loopback
    "mypy>=1.10",
    "nibabel>=5.3",  # heatbeam[nifti] is tested by reading back what it wrote
    "pandas>=2.1.1",  # a reader of the tables
    "polars>=1.5",  # a reader of the tables; 1.5 is the first to read int16 maps
    "pytest>=8.0",
    "pytest-cov>=5.0",  # which lines no test runs
    "pytest-timeout>=2.3",  # a hung runner fails its test
    "pytest-xdist>=3.5",  # two thirds of the time on two cores
    "ruff>=0.6",
    "selenium>=4.11",  # drives Chromium over the report; without Chromium those tests are skipped
    "setuptools>=69",  # builds the wheel that a test installs
    "simplejpeg>=1.7.4",  # the extra "jpeg"
    "types-PyYAML>=6.0",
]

# One import package out of two folders: a user may have files called `pipeline` and `transforms` of their own.
FOLDERS = {"heatbeam": "pipeline", "heatbeam.transforms": "transforms"}


def packages(name: str, folder: str) -> list[str]:
    """Import names of a folder and of every package below it."""
    return [name, *(f"{name}.{inner}" for inner in setuptools.find_packages(folder))]


setuptools.setup(
    name="heatbeam",
    version="0.1.0",
    description="Class activation maps and localization metrics for a whole dataset, on Apache Beam, in Parquet",
    long_description=pathlib.Path(__file__).with_name("README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    python_requires=">=3.10",
    packages=[package for name, folder in FOLDERS.items() for package in packages(name, folder)],
    package_dir=FOLDERS,
    package_data={
        "heatbeam": ["py.typed"],
        "heatbeam.pages": ["templates/*"],
        "heatbeam.explore": ["templates/*", "static/*"],
    },
    install_requires=REQUIRES,
    extras_require={
        "test": TEST,
        # Its image classifiers are mapped as by hand: make test-families. Needs 260 MB, of TensorFlow Text above all.
        "families": ['keras-hub>=0.32; python_version >= "3.11"'],
        # Plain JPEGs decoded in less time, to the same pixels; 1.7 is the first for NumPy 2.
        "jpeg": ["simplejpeg>=1.7.4"],
        "nifti": ["nibabel>=5.3"],  # volumes for the viewers of medical images; 5.3 is the oldest that is tried
        "bench": ["tf-keras-vis>=0.8.7"],  # a library to compare speed with
        "gcp": ["apache-beam[gcp]>=2.77"],  # Google Cloud Storage and Dataflow; from Python 3.11 on
        "yaml": ["apache-beam[yaml]>=2.77"],  # heatbeam.ExplainDataset in Beam YAML
        # heatbeam publish: the client alone, 60 MB; MLflow itself wants another protobuf than TensorFlow.
        "mlflow": ["mlflow-skinny>=3.1"],
        "iceberg": ["pyiceberg[pyarrow,sql-sqlite]>=0.12"],
        "explore": EXPLORE,
        "openvino": OPENVINO,
        "onnxruntime": ONNXRUNTIME,
        "aws": ["apache-beam[aws]>=2.77", "boto3>=1.28"],  # S3
    },
    entry_points={
        "console_scripts": [
            "heatbeam=heatbeam.process:start",
            "heatbeam-worker=heatbeam.runners.beam_worker:main",  # what --environment_type=PROCESS starts
        ]
    },
)
