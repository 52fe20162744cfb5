//! Pages of a pool, and how many sequences use each.

use crate::model::forward::Paging;
use crate::{Error, Result};

/// Which pages are free, and who else has those that are not.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct PagePool {
    paging: Paging,
    /// Sequences that have a page.
    users: Vec<u32>,
    /// The next to be taken is the last.
    free: Vec<u32>,
}

/// What a page held goes to another, because the sequence that goes on shares it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PageCopy {
    pub from: u32,
    pub to: u32,
}

impl PagePool {
    pub fn new(paging: Paging) -> Self {
        let users = vec![0; paging.pages as usize];
        Self { paging, users, free: (0..paging.pages).rev().collect() }
    }

    pub fn free(&self) -> usize {
        self.free.len()
    }

    /// Makes a sequence that has `pages` ready to write its tokens `from .. to`: the page that they begin in becomes its own,
    /// and pages are added. Nothing changes where that fails.
    ///
    /// # Errors
    /// [`Error::Request`] where there are not enough pages.
    pub fn grow(&mut self, pages: &mut Vec<u32>, from: u32, to: u32) -> Result<Vec<PageCopy>> {
        let first = (from / self.paging.page_tokens) as usize;
        let shared: Vec<usize> =
            (first..pages.len()).filter(|at| self.users[pages[*at] as usize] > 1).collect();
        let added = (self.paging.pages_of(to) as usize).saturating_sub(pages.len());
        let needed = shared.len() + added;
        if needed > self.free.len() {
            let (free, all) = (self.free.len(), self.paging.pages);
            return Err(Error::Request(format!(
                "tokens {from} to {to} of a sequence need {needed} pages of {}, and {free} of {all} are free",
                self.paging.page_tokens
            )));
        }
        let mut copies = Vec::new();
        for at in shared {
            let (old, new) = (pages[at], self.take());
            self.users[old as usize] -= 1;
            pages[at] = new;
            // Only the first holds tokens that stay.
            if at == first && !from.is_multiple_of(self.paging.page_tokens) {
                copies.push(PageCopy { from: old, to: new });
            }
        }
        pages.extend((0..added).map(|_| self.take()));
        Ok(copies)
    }

    /// A page nobody has; there is one.
    fn take(&mut self) -> u32 {
        let page = self.free.pop().unwrap_or_default();
        self.users[page as usize] += 1;
        page
    }

    /// Another sequence has these pages too.
    pub fn share(&mut self, pages: &[u32]) {
        pages.iter().for_each(|page| self.users[*page as usize] += 1);
    }

    /// A sequence keeps the pages of its first tokens.
    pub fn shrink(&mut self, pages: &mut Vec<u32>, tokens: u32) {
        let kept = self.paging.pages_of(tokens) as usize;
        for page in pages.drain(kept.min(pages.len())..) {
            self.users[page as usize] -= 1;
            if self.users[page as usize] == 0 {
                self.free.push(page);
            }
        }
    }
}

#[cfg(test)]
mod tests;
