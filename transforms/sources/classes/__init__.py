"""Which class a record means: its own words for it, and the position that the model has for that.

``class_maps.py`` looks a stored class up, ``stored_classes.py`` reads what a feature holds (ids, names, vectors),
``label_forms.py`` tells lists from vectors by the first records.
"""
