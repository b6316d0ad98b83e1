"""What is made to fit before workers start: which methods fit the model, and what computes it fastest on this machine.

`unfit_methods` leaves methods out; `work` estimates how much there is to do; `decision` says what computes the model,
by trial where that pays, and `kept_choices` keeps what trials found for the next run; `agreement` measures how near it
is to float32, on `first_records`. Imports the plan; `check` and the run import this.
"""
