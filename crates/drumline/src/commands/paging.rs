//! Lists that come in pages, as far as a limit goes.

use drumline_client::Paging;

use crate::exit::Result;

/// The part of a list that was shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Listed {
    /// The number of items.
    pub(super) shown: usize,
    /// True if there are more.
    pub(super) has_more: bool,
}

/// Asks for pages of at most `page` items, and shows the items, until `limit` are shown
/// or there are no more. A `limit` of 0 is none.
pub(super) async fn list<T>(
    limit: usize,
    page: usize,
    mut ask: impl AsyncFnMut(Paging) -> drumline_client::Result<(Vec<T>, Option<String>)>,
    mut show: impl FnMut(&T) -> Result<()>,
) -> Result<Listed> {
    let limit = if limit == 0 { usize::MAX } else { limit };
    let mut shown = 0;
    let mut cursor = None;
    loop {
        let paging = Paging {
            limit: Some(page.min(limit - shown)),
            cursor,
        };
        let (items, next) = ask(paging).await?;
        for item in items.iter().take(limit - shown) {
            shown += 1;
            show(item)?;
        }
        cursor = next;
        if cursor.is_none() || shown >= limit {
            let has_more = cursor.is_some();
            return Ok(Listed { shown, has_more });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn listed(limit: usize) -> (Vec<u32>, Vec<usize>, Listed) {
        let (mut items, mut asked) = (Vec::new(), Vec::new());
        let listed = list(
            limit,
            3,
            async |paging: Paging| {
                let from: u32 = paging.cursor.map_or(0, |cursor| cursor.parse().unwrap());
                let size = paging.limit.unwrap();
                asked.push(size);
                let to = (from + u32::try_from(size).unwrap()).min(7);
                Ok(((from..to).collect(), (to < 7).then(|| to.to_string())))
            },
            |item: &u32| {
                items.push(*item);
                Ok(())
            },
        );
        let listed = listed.await.unwrap();
        (items, asked, listed)
    }

    #[tokio::test]
    async fn pages_are_asked_for_up_to_the_limit() {
        let (items, asked, end) = listed(0).await;
        assert_eq!(items, Vec::from_iter(0..7));
        assert_eq!(asked, [3, 3, 3]);
        assert_eq!((end.shown, end.has_more), (7, false));
        let (items, asked, end) = listed(5).await;
        assert_eq!(items, Vec::from_iter(0..5));
        assert_eq!(asked, [3, 2]);
        assert_eq!((end.shown, end.has_more), (5, true));
    }
}
