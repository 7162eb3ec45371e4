"""Reading published runs: every question a page or command asks is one named function here; SQL lives here only.

connection   one in-memory DuckDB, files attached read-only, one cursor a question
bins         a signal's published bins, without their classes
summary      counts, spread and failures of a run
histogram    bars of pre-binned counts, by class, by truth
gallery      a page of samples in some order, under some filter
sample       everything known of one sample
threshold    what a line keeps, by class, and against the truth
compare      two signals at a budget each
progress     a run that is still going, from its parts
sandbox      one SELECT of a stranger's, in a process of its own (`sandboxed`)
rows         whole columns, streamed, for exports and detection
"""
