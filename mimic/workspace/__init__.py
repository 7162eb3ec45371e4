"""The workspace: a folder of data sets, runs, filters and caches. Every read is one named function, without torch."""
