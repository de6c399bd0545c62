"""`report.html` of a run: one file that shows how a run goes, or went.

Everything in it is read from the workdir, so it can be made at any time.

writer       writes it while a run goes, and what it will be read from
samples      answers to the same questions over time, and the first batch
environment  command, versions and devices
reading      a workdir, as far as its files can be read
curves axes  numbers as lines; lines on paper
story        state, starts and time, from the ledger
page         all of it in HTML
"""
