"""Shortcuts that are planted, and whether the audit proves them: `cues` draws them, `worlds` has networks learn them.

Half of the kinds of cue were set aside before anything was tuned: `cues.DEVELOPMENT` and `cues.HELD_OUT`.
"""
