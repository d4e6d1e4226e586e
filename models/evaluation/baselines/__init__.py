"""What a network has to beat, fitted in the same run on the same rows.

Everything is fitted on training rows; what has a choice (a penalty, a number of trees, a threshold) takes it from
validation rows.  No function here is given a test row before all of that is done.
"""
