//! What the programs say to wrong input, and with which exit code.
