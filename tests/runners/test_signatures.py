"""What Beam remembers of DoFns' methods is what it would find."""

from __future__ import annotations

import gc

import apache_beam as beam
from apache_beam.transforms import core, userstate

from heatbeam.runners import signatures

SPEC = userstate.BagStateSpec("kept", beam.coders.BytesCoder())
STATE = beam.DoFn.StateParam(SPEC)


class Stateful(beam.DoFn):
    def process(self, element, state=STATE, window=beam.DoFn.WindowParam, *, last=3):
        pass

    @classmethod
    def made(cls, element, size=4):
        pass


def test_beam_finds_the_same_and_asks_once(monkeypatch):
    asked = []
    plain = core.get_function_args_defaults
    plain = getattr(plain, "__wrapped__", plain)  # another test may have had a run
    monkeypatch.setattr(core, "get_function_args_defaults", lambda f: asked.append(f) or plain(f))
    signatures.remember()
    remembered = core.get_function_args_defaults
    for _ in range(2):
        signatures.remember()  # not once more around it
        assert core.get_function_args_defaults is remembered
        for method in (Stateful().process, Stateful.made, Stateful().setup):
            assert remembered(method) == plain(method)
        remembered(Stateful().process)[0].clear()  # the caller's own
        assert userstate.get_dofn_specs(Stateful()) == ({SPEC}, set())
        assert userstate.is_stateful_dofn(Stateful()) and not userstate.is_stateful_dofn(beam.DoFn())
    assert sorted(f.__name__ for f in asked).count("process") == 2  # of the DoFn, and of its base
    assert len(asked) == len({f.__func__ for f in asked})


def test_a_function_that_is_gone_is_forgotten():
    remembered = signatures._Remembered(core.get_function_args_defaults)

    class Passing(beam.DoFn):
        def process(self, element, window=beam.DoFn.WindowParam):
            pass

    remembered(Passing().process)
    assert len(remembered._known) == 1
    del Passing
    gc.collect()
    assert not remembered._known


def test_a_beam_without_that_function_is_left_as_it_is(monkeypatch):
    monkeypatch.delattr(core, "get_function_args_defaults")
    signatures.remember()
    assert not hasattr(core, "get_function_args_defaults")


def test_what_is_no_method_is_asked_about_each_time():
    signatures.remember()
    assert core.get_function_args_defaults(lambda element, size=3: None) == (["element", "size"], [3])
