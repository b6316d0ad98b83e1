"""Which engine computes a model: TensorFlow, XLA, OpenVINO or ONNX Runtime, by trial on the machine that will do it.

Imports the engine and what is below it; the steps and the job import this. How another engine than TensorFlow is given
a part of a model is in `heatbeam.transforms.models.backends`.
"""
