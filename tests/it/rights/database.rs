//! A role that installs, a lesser one that runs, and the CRM's own, which needs nothing new.
