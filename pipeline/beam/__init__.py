"""heatbeam inside a pipeline of yours: the whole job as one transform, its rows for any sink, and RunInference.

Above the steps and the job, which know nothing of it.
"""
