//! A node's attributes and constant inputs, with the defaults of the specification.

use super::Reader;
use super::proto::{Attribute, Node};
use crate::graph::{Tensor, ValueId};

/// A node with access to what is known so far.
pub struct Args<'a> {
    pub node: &'a Node,
    pub reader: &'a Reader,
}

impl<'a> Args<'a> {
    fn find(&self, name: &str) -> Option<&'a Attribute> {
        self.node.attribute.iter().find(|a| a.name == name)
    }

    pub fn has(&self, name: &str) -> bool {
        self.find(name).is_some()
    }

    pub fn float(&self, name: &str, default: f32) -> f32 {
        self.find(name).map_or(default, |a| a.f)
    }

    pub fn int(&self, name: &str, default: i64) -> i64 {
        self.find(name).map_or(default, |a| a.i)
    }

    pub fn flag(&self, name: &str, default: bool) -> bool {
        self.int(name, i64::from(default)) != 0
    }

    pub fn string(&self, name: &str, default: &'a str) -> &'a str {
        self.find(name).map_or(default, |a| std::str::from_utf8(&a.s).unwrap_or("?"))
    }

    pub fn ints(&self, name: &str) -> Option<&'a [i64]> {
        self.find(name).map(|a| a.ints.as_slice())
    }

    pub fn floats(&self, name: &str) -> Option<&'a [f32]> {
        self.find(name).map(|a| a.floats.as_slice())
    }

    pub fn tensor(&self, name: &str) -> Option<&'a super::proto::Tensor> {
        self.find(name)?.t.as_ref()
    }

    /// Two extents (rows, columns) that are not negative.
    pub fn pair(&self, name: &str, default: [usize; 2]) -> Result<[usize; 2], String> {
        let Some(v) = self.ints(name) else { return Ok(default) };
        match v {
            [a, b] => Ok([unsigned(*a)?, unsigned(*b)?]),
            _ => Err(format!("{name} = {v:?}: only two spatial axes are supported")),
        }
    }

    /// Number of inputs, trailing empty ones left out.
    pub fn len(&self) -> usize {
        self.node.input.iter().rposition(|n| !n.is_empty()).map_or(0, |i| i + 1)
    }

    /// An input, or `None` where it is left out.
    pub fn optional(&self, slot: usize) -> Option<ValueId> {
        let name = self.node.input.get(slot).filter(|n| !n.is_empty())?;
        self.reader.names.get(name).copied()
    }

    pub fn input(&self, slot: usize) -> Result<ValueId, String> {
        self.optional(slot).ok_or_else(|| format!("lacks input {slot}"))
    }

    /// All inputs, none of which may be left out.
    pub fn inputs(&self) -> Result<Vec<ValueId>, String> {
        (0..self.len()).map(|i| self.input(i)).collect()
    }

    pub fn shape(&self, slot: usize) -> Result<&'a [usize], String> {
        Ok(self.reader.graph.shape(self.input(slot)?))
    }

    /// An input that must be known now; `None` where it is left out.
    pub fn constant(&self, slot: usize) -> Result<Option<&'a Tensor>, String> {
        let Some(id) = self.optional(slot) else { return Ok(None) };
        let constant = self.reader.graph.constant(id);
        constant.map(Some).ok_or_else(|| format!("input {slot} is computed at run time, not a constant"))
    }

    /// Integers from an input, or from an attribute as older opsets had it.
    pub fn list(&self, slot: usize, attribute: &str) -> Result<Option<Vec<i64>>, String> {
        match self.constant(slot)? {
            Some(t) => {
                t.as_i64().map(|v| Some(v.to_vec())).ok_or_else(|| format!("input {slot} is not integers"))
            }
            None => Ok(self.ints(attribute).map(<[i64]>::to_vec)),
        }
    }

    /// A number from an input, or from an attribute as older opsets had it.
    pub fn scalar(&self, slot: usize, attribute: &str, default: f32) -> Result<f32, String> {
        match self.constant(slot)? {
            Some(t) => t.scalar().ok_or_else(|| format!("input {slot} is not a single number")),
            None => Ok(self.float(attribute, default)),
        }
    }

    /// An axis attribute; negative ones count from the end.
    pub fn axis(&self, default: i64, rank: usize) -> Result<usize, String> {
        axis(self.int("axis", default), rank)
    }
}

/// An axis of a tensor with `rank` axes; negative ones count from the end.
pub fn axis(axis: i64, rank: usize) -> Result<usize, String> {
    let at = if axis < 0 { axis.checked_add(rank as i64) } else { Some(axis) };
    at.and_then(|a| usize::try_from(a).ok())
        .filter(|&a| a < rank)
        .ok_or_else(|| format!("axis {axis} does not exist among {rank}"))
}

pub fn unsigned(v: i64) -> Result<usize, String> {
    usize::try_from(v).map_err(|_| format!("the value {v} is negative"))
}
