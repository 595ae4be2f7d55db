use super::*;

const TAKEN_UP: u64 = 1_000_000;

fn queue(id: i32) -> Queue {
    Queue::from_parts("orders", "broker", id)
}

fn queues(taken_up: u64) -> Queues {
    [(queue(0), taken_up)].into_iter().collect()
}

/// A call of one message that began a second after `taken_up`.
fn call(seats: &mut CallSeats, first: i64, taken_up: u64) -> u64 {
    let stamp = Some(taken_up + 1_000);
    let id = seats.take(CallSeat::new(queue(0), (first, first), (1, 10), stamp));
    seats.look(&queues(taken_up), seats.next());
    id
}

#[test]
fn the_first_call_of_a_queue_stays_until_those_that_were_set_aside_are_done() {
    let mut seats = CallSeats::default();
    let [first, second, third] = [10, 20, 30].map(|offset| call(&mut seats, offset, TAKEN_UP));
    assert_eq!(seats.set_aside(first), None);
    assert_eq!(seats.set_aside(third), Some(false));
    assert_eq!(seats.call_return(first), CallReturn::Now, "the second one stays");
    seats.over(first);
    assert_eq!(seats.set_aside(second), None, "it is the first one now");
    assert_eq!(seats.call_return(second), CallReturn::Later);
    assert_eq!((seats.on_threads(), seats.working()), (1, 2));
    seats.over_aside((&queue(0), 30, third), false);
    assert_eq!(seats.call_return(second), CallReturn::Now);
}

#[test]
fn a_call_that_was_left_keeps_the_first_one_from_ever_saying_that_all_is_done() {
    let mut seats = CallSeats::default();
    let [first, second] = [10, 20].map(|offset| call(&mut seats, offset, TAKEN_UP));
    seats.set_aside(second);
    seats.over_aside((&queue(0), 20, second), true);
    assert_eq!(seats.call_return(first), CallReturn::WithoutAck);
    assert_eq!(seats.working(), 1);
}

/// Its messages came again, and what is done before them moves the offset over those of the new call.
#[test]
fn a_call_from_before_the_queue_was_lost_stands_for_none_that_came_since() {
    let mut seats = CallSeats::default();
    let old = call(&mut seats, 10, TAKEN_UP);
    let new = call(&mut seats, 20, TAKEN_UP + 60_000);
    assert_eq!(seats.set_aside(new), None);
    assert_eq!(seats.set_aside(old), Some(true), "nobody listens to it any more");
    seats.look(&Queues::new(), seats.next());
    assert_eq!(seats.set_aside(new), Some(true));
}

#[test]
fn what_began_before_its_queue_was_taken_up_or_has_none_is_not_set_aside() {
    let mut seats = CallSeats::default();
    call(&mut seats, 10, TAKEN_UP);
    for stamp in [None, Some(TAKEN_UP - 1), Some(TAKEN_UP + FIRST_CALL_MILLIS - 1)] {
        let other = seats.take(CallSeat::new(queue(0), (20, 20), (1, 10), stamp));
        seats.look(&queues(TAKEN_UP), seats.next());
        assert_eq!(seats.set_aside(other), None, "{stamp:?}");
    }
}

#[test]
fn a_look_from_before_a_call_says_nothing_of_it() {
    let mut seats = CallSeats::default();
    let before = seats.next();
    let stamp = Some(TAKEN_UP + 1_000);
    let call = seats.take(CallSeat::new(queue(0), (10, 10), (1, 10), stamp));
    seats.look(&Queues::new(), before);
    assert!(!seats.over(call));
}

/// The client sees its offset, and pulls no more.
#[test]
fn a_call_that_is_far_behind_the_first_one_is_not_set_aside() {
    let mut seats = CallSeats::default();
    let span = i64::from(SPAN);
    let [first, near, far] = [10, 10 + span, 11 + span].map(|offset| call(&mut seats, offset, TAKEN_UP));
    assert_eq!([near, far].map(|call| seats.set_aside(call)), [Some(false), None]);
    seats.over(first);
    assert_eq!(seats.call_return(far), CallReturn::Now);
}

#[test]
fn bodies_that_are_set_aside_are_bounded() {
    let mut seats = CallSeats::default();
    call(&mut seats, 0, TAKEN_UP);
    let stamp = Some(TAKEN_UP + 1_000);
    let heavy = [1, 2].map(|first| seats.take(CallSeat::new(queue(0), (first, first), (1, HEAVY), stamp)));
    seats.look(&queues(TAKEN_UP), seats.next());
    assert_eq!(heavy.map(|call| seats.set_aside(call)), [Some(false), None]);
    seats.over_aside((&queue(0), 1, heavy[0]), false);
    assert_eq!(seats.set_aside(heavy[1]), Some(false));
}
