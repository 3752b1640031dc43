//! The recycler's questions to the database, each answered only while the guard admits: the alive check's
//! own statement says whose database it was, whether it is the primary, and whether it is paused.
