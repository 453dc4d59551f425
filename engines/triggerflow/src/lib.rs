//! The engine `triggerflow`: events activate triggers.
#![allow(dead_code)]

mod dag;
mod event;
mod joins;
mod machine;
mod plan;
mod record;
mod settings;
mod table;
mod trigger;
mod workspace;
