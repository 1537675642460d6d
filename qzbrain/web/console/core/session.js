// Who is signed in. Without accounts everybody is the local user, and nothing of this shows.
import { ApiError, get, remove, whenSignedOut } from "./api.js";
import { store } from "./store.js";

const LOCAL = { accounts: false, signed_in: true, user: null, must_change: false, setup_needed: false };

/** What `GET /api/session` said; null before it is known. */
export const session = store(null);

/** Ask who is signed in. An old server, or none: the page goes on and says itself what is wrong. */
export async function loadSession() {
  try {
    session.set(await get("/api/session"));
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    if (!session.get()) session.set(LOCAL);
  }
  return session.get();
}

whenSignedOut(() => {
  const now = session.get();
  if (now?.signed_in && now.accounts) session.set({ ...now, signed_in: false, expired: true });
});

/** Sign out here, and begin anew: nothing of the last user's stays in the page. */
export async function signOut() {
  await remove("/api/session");
  location.assign("/");
}

const ROLES = ["reader", "editor", "manager", "administrator"];
export const LEVELS = ["public", "internal", "confidential", "secret", "top_secret"];

/** Whether the signed-in user's role is at least this one. */
export function isAtLeast(role) {
  const now = session.get();
  return !now || !now.accounts || ROLES.indexOf(now.user?.role) >= ROLES.indexOf(role);
}

/** Levels that the signed-in user may give. */
export function givableLevels() {
  const now = session.get();
  return now?.accounts ? LEVELS.slice(0, LEVELS.indexOf(now.user?.clearance) + 1) : LEVELS;
}
