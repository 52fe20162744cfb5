//! A pool against what each sequence should have.

use super::*;

fn pool(pages: u32) -> PagePool {
    PagePool::new(Paging { page_tokens: 4, pages })
}

#[test]
fn pages_come_as_tokens_do() {
    let (mut pool, mut pages) = (pool(5), Vec::new());
    for (to, count) in [(1, 1), (4, 1), (5, 2), (13, 4), (20, 5)] {
        assert_eq!(pool.grow(&mut pages, to - 1, to).unwrap(), []);
        assert_eq!((pages.len(), pool.free()), (count, 5 - count), "{to} tokens");
    }
    pool.shrink(&mut pages, 8);
    assert_eq!((pages.len(), pool.free()), (2, 3));
    pool.shrink(&mut pages, 8);
    assert_eq!((pages.len(), pool.free()), (2, 3));
}

#[test]
fn nothing_changes_where_there_are_too_few() {
    let (mut pool, mut pages) = (pool(2), Vec::new());
    pool.grow(&mut pages, 0, 5).unwrap();
    let (before, mut same) = (pool.clone(), pages.clone());
    let error = pool.grow(&mut same, 5, 9).unwrap_err().to_string();
    assert!(error.contains("need 1 pages of 4, and 0 of 2 are free"), "{error}");
    assert_eq!((pool, same), (before, pages));
}

/// Who writes into a page that another has too gets one of their own, with what stays of it.
#[test]
fn a_shared_page_is_copied_before_it_is_written() {
    let (mut pool, mut pages) = (pool(6), Vec::new());
    pool.grow(&mut pages, 0, 6).unwrap();
    pool.share(&pages);
    let mut fork = pages.clone();
    let copies = pool.grow(&mut fork, 6, 7).unwrap();
    assert_eq!(copies, [PageCopy { from: pages[1], to: fork[1] }]);
    assert_eq!(fork[0], pages[0], "what nobody writes stays shared");
    // The other one is alone with its page now.
    assert_eq!(pool.grow(&mut pages, 6, 8).unwrap(), []);
    // Of a page that is written from its beginning nothing stays.
    pool.share(&pages);
    let mut cut = pages.clone();
    pool.shrink(&mut cut, 4);
    assert_eq!(pool.grow(&mut cut, 4, 5).unwrap(), []);
    for mut of in [pages, fork, cut] {
        pool.shrink(&mut of, 0);
    }
    assert_eq!(pool.free(), 6);
}
