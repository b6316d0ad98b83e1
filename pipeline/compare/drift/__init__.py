"""Whether a model's reasons moved between two runs over different images, without labels and without pairs.

`reasons` reads what says why a class was named: where the map has its energy, its statistics, and the channels that
carry the score. `moved` tests whether they differ (`transforms.metrics.two_sample`) and says where. A new kind of
reason is a block of features there.
"""
