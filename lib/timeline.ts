// `handover/timeline`: traces of the handovers that the option `timeline` has recorded.

export { joinTimeline, type Trace, type TraceEvent, toTrace } from './observe/timeline.js';
export {
  listTimelines,
  type RecordedHandover,
  type TimelinePart,
  type TimelineRole,
  type TimelineSpan,
  type TimelineTrack,
} from './observe/timeline-part.js';
export { criticalPath, hintsFor, type PathSegment } from './observe/timeline-path.js';
