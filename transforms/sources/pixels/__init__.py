"""From the bytes of an image to the pixels of a model's input, as the libraries that models are trained with do it.

`image_files` and `tensorflow_images` decode, `geometry` says which rectangle is shown, `resamplers` brings it to the
model's input with the code of a library, and `not_images` says what bytes are that are no image. `sources.images` puts
them together. A further resampler is a name in `decode_options` and a function in `resamplers`.
"""
