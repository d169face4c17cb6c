//! What every Muster command line shares: exit codes, errors, tables, progress, completion, man pages.
