mod behaviour;
mod control;
mod fixture;
mod refusals;
mod replay;
mod structure;
