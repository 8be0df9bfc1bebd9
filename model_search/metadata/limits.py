"""How large what a study describes may be: far beyond what is trained anywhere, and far below what no machine holds.

A study may come from a stranger. What is beyond these limits is refused when it is read, before anything of that size
is made; and when it is written, so that no study is made that could not be read.
"""

from __future__ import annotations

MOST_BLOCKS = 1000  # of one tower
MOST_STEPS = 10**9
MOST_BATCH = 10**7  # rows
MOST_TRIALS = 10**5  # that a plan builds on
MOST_HYPERPARAMETERS = 10**4
MOST_LOGITS = 10**6
MOST_ROW_NUMBERS = 10**7  # of one row of inputs
MOST_PARAMETERS = 2**31  # of one tower: 8 GiB
MOST_PLAIN_NUMBERS = 10**5  # inputs, logits and widths of a tower whose parameters need not be counted beforehand
MOST_HYPERPARAMETER = 10**6  # a whole number, such as a width
