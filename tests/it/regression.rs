// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a review found broken and belongs to no behaviour's own module.
