// CKPTFS_EXPORT: what the shared libraries show. They are built with hidden
// visibility, so that nothing else of them can be linked to, by accident or
// not.
//
// Every class with members defined in a source file, and every function of a
// public header that is not inline, carries it.
#pragma once

#define CKPTFS_EXPORT __attribute__((visibility("default")))
